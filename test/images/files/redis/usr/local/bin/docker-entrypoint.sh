#!/bin/sh
# Arguments that begin with a configuration file or an option are meant for redis-server.
case $1 in
-* | *.conf) set -- redis-server "$@" ;;
esac
exec "$@"
