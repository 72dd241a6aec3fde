// Package state says what lies in the state bucket and what a change of it looks like: the codec of keys, the change that
// names the revision it replaces, orders and routes for nodes, and two tables, who writes what ([Writers]) and which stamp
// guards which set ([Stamps]).
//
// It decides nothing and talks to nobody: package commit writes what is described here, package view reads it. The one
// rule with logic is [PodChange]: a pod and its order always come out together, so they never disagree (P16).
package state
