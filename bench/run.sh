#!/usr/bin/env bash
# Measures this checkout's server: builds it, runs each scenario a few times on a fresh data file, and
# prints minimum, median and maximum beside the figures of peer.json. Everything is on loopback.
#
# bench/run.sh [--runs N] [--only LABEL]      LABEL is one of the scenarios below
set -euo pipefail
shopt -s extglob

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")

# label: arguments of `whbench run`. Sizes are such that a measured run lasts seconds, not milliseconds.
scenarios=(
    "null-1x1: --messages 200000"
    "sat-1x1: --messages 60000"
    "fanout-10: --messages 10000 --endpoints 10"
    "apps-100: --messages 60000 --apps 100"
    "rate-50: --messages 1000 --rate 50"
    "slow-receiver: --messages 5000 --receiver-delay-ms 1000"
    # As long as a queue may hide what the dead process had taken, and a minute more for late duplicates.
    "kill9: --messages 30000 --fault-after 10000 --quiet-s 400 --drain-s 450 --settle-ms 60000"
    # A fan-out to a thousand: all of them sound, and then one that never answers and one that drips among them.
    "sound-1000: --messages 100 --warmup 20 --rate 5 --endpoints 1000"
    "isolation-1000: --messages 100 --warmup 20 --rate 5 --endpoints 1000 --dead-endpoints 1 --drip-endpoints 1"
    "half-hanging: --messages 4000 --rate 200 --apps 10 --slow-apps 5 --slow-ms 10000 --drain-s 900"
)

runs=3 only=
usage() { sed -n '5s/# //p' "$0" >&2; printf '  %s\n' "${scenarios[@]}" >&2; exit 2; }
while (($#)); do
    case $1 in
    --runs) runs=${2:-} ;;
    --only) only=${2:-} ;;
    *) usage ;;
    esac
    shift 2 || usage
done
[[ $runs == [1-9]*([0-9]) ]] || usage
if [[ $only ]]; then
    [[ " ${scenarios[*]%%:*} " == *" $only "* ]] || usage
    for i in "${!scenarios[@]}"; do
        [[ ${scenarios[i]%%:*} == "$only" ]] || unset "scenarios[i]"
    done
fi

target=${CARGO_TARGET_DIR:-$root/target}
[[ $target == /* ]] || target=$PWD/$target
(cd "$root" && CARGO_TARGET_DIR=$target cargo build --release -p whbench -p local)

# Beside the build and not under /tmp, which may be memory, where nothing is ever waited for. Copies, so
# that building meanwhile changes nothing.
tmp=$(mktemp -d "$target/whbench.XXXXXX")
cp "$target/release/whbench" "$target/release/postrider" "$tmp"
export WHBENCH=$tmp/whbench SERVER=$tmp/postrider SERVER_DIR=$tmp/run
run_pid=
clean_up() {
    [[ -z $run_pid ]] || kill "$run_pid" 2>/dev/null || true
    "$here/server.sh" stop || true
    rm -rf "$tmp"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

random() { # N lower-case letters and digits
    head -c 4096 /dev/urandom | LC_ALL=C tr -dc a-z0-9 | cut -c "1-$1"
}

free_port() { # below the range that outgoing connections take theirs from
    local port
    while port=$((20000 + RANDOM % 12000)); (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
    echo "$port"
}

# measure ARGS...: one run; waited for in the background, so that a signal is heard at once.
measure() {
    "$WHBENCH" run "$@" --label "$label" --out "$results" >"$tmp/outcome" &
    run_pid=$!
    local status=0
    wait "$run_pid" || status=$?
    run_pid=
    return "$status"
}

# measure_server ARGS...: one run against a server that has never run before.
measure_server() {
    rm -rf "$SERVER_DIR"
    mkdir "$SERVER_DIR"
    POSTRIDER_OPERATOR_KEY=prk_$(random 16)_$(random 32)
    POSTRIDER_PORT=$(free_port)
    POSTRIDER_DATA=$SERVER_DIR/postrider.db
    export POSTRIDER_OPERATOR_KEY POSTRIDER_PORT POSTRIDER_DATA
    echo "$POSTRIDER_OPERATOR_KEY" >"$SERVER_DIR/key"
    [[ $* != *--fault-after* ]] || set -- "$@" --fault-cmd "'$here/server.sh' crash"

    local status=0
    "$here/server.sh" start &&
        measure --target postrider --url "http://127.0.0.1:$POSTRIDER_PORT" \
            --token-file "$SERVER_DIR/key" --proc "server=@$SERVER_DIR/pid" "$@" || status=$?
    "$here/server.sh" stop || status=$?
    ((status == 0)) || { echo "the server's log ends:"; tail -n 20 "$SERVER_DIR/log"; } >&2
    return "$status"
}

mkdir -p "$here/results"
results=$here/results/$(date -u +%Y%m%dT%H%M%SZ).jsonl
failed=0
# Rounds outside, scenarios inside: what else the machine does then hits all of them alike.
for ((round = 1; round <= runs; round++)); do
    for scenario in "${scenarios[@]}"; do
        label=${scenario%%:*}
        read -ra args <<<"${scenario#*:}"
        echo "round $round of $runs: $label" >&2
        if [[ $label == null-* ]]; then
            measure --target null "${args[@]}" || failed=$((failed + 1))
        else
            measure_server "${args[@]}" || failed=$((failed + 1))
        fi
    done
done

[[ ! -e $results ]] || "$WHBENCH" report --peer "$here/peer.json" "$results"
echo "results: ${results#"$root"/}; failed runs: $failed" >&2
((failed == 0))
