package auth

import (
	"time"

	"github.com/nats-io/jwt/v2"

	"millrace.dev/pkg/state"
)

// Account is one of the four accounts. Permissions inside one account can be bypassed by naming a foreign subject as reply, which
// the server does not check, so the accounts are the trust boundary (docs/adr/0007-accounts-as-the-trust-boundary.md).
type Account string

// The accounts.
const (
	SYS   Account = "SYS"   // the NATS server's own
	CTRL  Account = "CTRL"  // JetStream and the control plane
	NODES Account = "NODES" // kubelets and proxies; no JetStream
	USERS Account = "USERS" // people, the CLI, event clients; no JetStream
)

// Role is what a credential is for. Its signing key can mint nothing but credentials with the role's permissions.
type Role string

// The roles.
const (
	RoleAPI        Role = "api"
	RoleScheduler  Role = "scheduler"
	RoleController Role = "controller"
	RoleKubelet    Role = "kubelet"
	RoleProxy      Role = "proxy"
	RoleUser       Role = "user"
	RoleSystem     Role = "system" // reads the server's own figures, updates account JWTs
)

// roles lists each role with its account. Names in a template are the token of the bearer (state.EncodeToken).
var roles = map[Role]Account{
	RoleAPI: CTRL, RoleScheduler: CTRL, RoleController: CTRL, RoleKubelet: NODES, RoleProxy: NODES, RoleUser: USERS, RoleSystem: SYS,
}

// replyWindow is how long a service may go on answering one request, such as a log that is followed.
const replyWindow = time.Hour

// permissions is the template of a role. {{name()}} is replaced by the server with the bearer's name.
func permissions(role Role) jwt.Permissions {
	switch role {
	case RoleAPI:
		// The only process that serves others; it makes the streams, and must never destroy one.
		return jwt.Permissions{Pub: jwt.Permission{
			Allow: jwt.StringList{">"},
			Deny:  jwt.StringList{"$JS.API.STREAM.DELETE.>", "$JS.API.STREAM.PURGE.>", "$JS.API.STREAM.MSG.DELETE.>", "$SYS.>"},
		}}
	case RoleScheduler:
		return jwt.Permissions{Pub: allow(stateWriter(state.Scheduler, "c.api.scheduler.>", "note.>")...), Sub: allow("_INBOX_{{name()}}.>")}
	case RoleController:
		return jwt.Permissions{
			Pub: allow(stateWriter(state.Controller, "c.api.controller.>", "note.>")...),
			Sub: allow("_INBOX_{{name()}}.>", "n.hb.*", "n.ack.*"),
		}
	case RoleKubelet:
		return jwt.Permissions{
			Pub: allow("report.{{name()}}.>", "hb.{{name()}}", "snap.{{name()}}", "config.{{name()}}", "note.{{name()}}.>",
				"session.{{name()}}.>"),
			Sub:  allow("edge.order.{{name()}}.>", "kubelet.{{name()}}.>", "session.{{name()}}.>", "_INBOX_{{name()}}.>"),
			Resp: &jwt.ResponsePermission{MaxMsgs: jwt.NoLimit, Expires: replyWindow},
		}
	case RoleProxy:
		return jwt.Permissions{Pub: allow("ack.{{name()}}", "snap.{{name()}}"), Sub: allow("edge.route.>", "_INBOX_{{name()}}p.>")}
	case RoleUser:
		return jwt.Permissions{
			Pub: allow("api.{{name()}}.>", "command.{{name()}}.>", "session.*.{{name()}}.>"),
			Sub: allow("session.*.{{name()}}.>", "_INBOX_{{name()}}.>"),
		}
	case RoleSystem:
		return jwt.Permissions{}
	}
	panic("auth: unknown role " + string(role))
}

func allow(subjects ...string) jwt.Permission { return jwt.Permission{Allow: subjects} }

// stateWriter is what a process must publish to follow the bucket, to write what the table of writers grants it, and to
// hold a lease; and more.
func stateWriter(service state.Service, more ...string) []string {
	const leases = "KV_lease"
	subjects := append([]string{
		"$JS.API.INFO", "$JS.API.STREAM.INFO." + state.Stream, "$JS.API.STREAM.MSG.GET." + state.Stream,
		"$JS.API.CONSUMER.CREATE." + state.Stream + ".>", "$JS.API.CONSUMER.DELETE." + state.Stream + ".>",
		"$JS.API.CONSUMER.INFO." + state.Stream + ".>", "$JS.API.CONSUMER.MSG.NEXT." + state.Stream + ".>", "$JS.ACK." + state.Stream + ".>",
		"$JS.API.STREAM.INFO." + leases, "$JS.API.STREAM.MSG.GET." + leases, "$JS.API.DIRECT.GET." + leases + ".>",
		"$JS.API.CONSUMER.CREATE." + leases + ".>", "$JS.API.CONSUMER.DELETE." + leases + ".>", "$JS.API.CONSUMER.INFO." + leases + ".>",
		"$JS.API.CONSUMER.MSG.NEXT." + leases + ".>", "$JS.FC." + leases + ".>", "$JS.ACK." + leases + ".>", "$KV.lease.>",
	}, more...)
	for _, rule := range state.Writers {
		if rule.Service == service {
			subjects = append(subjects, state.SubjectPrefix+rule.Keys)
		}
	}
	return subjects
}

// exports and imports join the accounts. Users and nodes enter CTRL under different prefixes, so that what arrives says
// where it came from: "u." and "n.".
func join(claims map[Account]*jwt.AccountClaims) {
	id := func(a Account) string { return claims[a].Subject }
	service := func(from Account, to Account, subject, local string) {
		export := &jwt.Export{Name: subject, Subject: jwt.Subject(subject), Type: jwt.Service, ResponseType: jwt.ResponseTypeStream}
		claims[to].Exports.Add(export)
		claims[from].Imports.Add(&jwt.Import{
			Name: subject, Account: id(to), Subject: jwt.Subject(subject), LocalSubject: jwt.RenamingSubject(local), Type: jwt.Service,
		})
	}
	stream := func(from Account, to Account, subject string) {
		claims[from].Exports.Add(&jwt.Export{Name: subject, Subject: jwt.Subject(subject), Type: jwt.Stream})
		claims[to].Imports.Add(&jwt.Import{Name: subject, Account: id(from), Subject: jwt.Subject(subject), Type: jwt.Stream})
	}
	service(USERS, CTRL, "u.api.>", "api.>")
	service(USERS, CTRL, "u.command.>", "command.>")
	for _, subject := range []string{"report.>", "hb.*", "snap.*", "config.*", "note.>", "ack.*"} {
		service(NODES, CTRL, "n."+subject, subject)
	}
	service(CTRL, NODES, "kubelet.*.>", "kubelet.*.>")
	stream(CTRL, NODES, "edge.>")
	stream(USERS, NODES, "session.*.*.*.up")
	stream(NODES, USERS, "session.*.*.*.down")
}
