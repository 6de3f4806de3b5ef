#!/usr/bin/env bash
# One server under test: server.sh start | stop | crash
#
# Its settings are in the environment (see run.sh): WHBENCH, SERVER and SERVER_DIR, and what the
# server itself reads. Its process id is in SERVER_DIR/pid; nothing else is ever signalled.
set -euo pipefail

pid_file=$SERVER_DIR/pid

start() {
    "$SERVER" --host 127.0.0.1 --allow-private-targets </dev/null >>"$SERVER_DIR/log" 2>&1 &
    echo $! >"$pid_file"
    "$WHBENCH" ready --target postrider --url "http://127.0.0.1:$POSTRIDER_PORT" --limit-s 30 >/dev/null
}

# Whether the process is still this server: one that got the id since has another name, and one that only waits to be
# collected is a zombie without threads. (Its executable is let go of before its sockets are, and its first thread may be
# a zombie while others still hold them: both would be too early.)
runs() {
    local stat threads
    stat=$(cat "/proc/$1/stat" 2>/dev/null) && [[ $stat == "$1 (${SERVER##*/}) "* ]] || return 1
    threads=("/proc/$1/task"/*)
    [[ $stat == "$1 (${SERVER##*/}) "[!ZX]* ]] || ((${#threads[@]} > 1))
}

# end SIGNAL SECONDS: signals the server; fails if it still runs then.
end() {
    local pid
    pid=$(<"$pid_file")
    ! runs "$pid" || kill "-$1" "$pid" 2>/dev/null || true
    for ((i = 0; i < $2 * 100; i++)); do
        runs "$pid" || return 0
        sleep 0.01
    done
    return 1
}

case ${1:-} in
start) start ;;
stop)
    [[ -e $pid_file ]] || exit 0
    end TERM 30 || { echo "the server ignored SIGTERM for 30 s" >&2; end KILL 10; exit 1; }
    rm "$pid_file"
    ;;
crash) # kill -9, then again on the same file, at once
    end KILL 10
    start
    ;;
*) echo "usage: server.sh start|stop|crash" >&2; exit 2 ;;
esac
