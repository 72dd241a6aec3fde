module millrace.dev/cli

go 1.26.0

require millrace.dev/pkg v0.0.0

replace millrace.dev/pkg => ../pkg
