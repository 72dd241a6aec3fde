// Package arch tests how the code is put together: who may import what, which package is the door of which library, how large
// files grow, that every decision about a set bears its stamp, that every rule of docs/protocol.md is shown by a test, and that
// the documents name what exists.
//
// Each check is a function from lists to sentences, and each sentence says what to do. Every check is shown a broken sample too:
// one that finds nothing there would find nothing anywhere.
//
// The tests read the whole repository, of which Go's cache of test results sees only this module: run them with -count=1.
package arch
