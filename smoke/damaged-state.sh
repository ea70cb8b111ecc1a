#!/usr/bin/env bash
# A control plane whose state was damaged: “rap-control run” must say what is wrong, where, and the mend, and end with 1.
# The file system that is mounted read-only stands in a mount namespace of its own.
#
# Ends with 0 (passed) or 1; 77 without root.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
[ "$(id -u)" -eq 0 ] || { echo "damaged-state: left out, mounting needs root"; exit 77; }

bin=${RAP_BIN:-.build/debug}
[ -x "$bin/rap-control" ] || swift build --product rap-control || exit 1
work=$(mktemp -d -t rap-damaged.XXXXXX)
trap 'rm -rf "$work"' EXIT
fail() {
    echo "damaged-state: FAILED: $1" >&2
    cat "$work/output" >&2
    exit 1
}
"$bin/rap-control" init --state "$work/whole" --listen 127.0.0.1:8443 >"$work/output" 2>&1 || fail "init"

# What is left after a short run: with its database, and its log copied into it.
"$bin/rap-control" run --state "$work/whole" --listen 127.0.0.1:0 >"$work/output" 2>&1 &
for _ in $(seq 100); do
    grep -q ready "$work/output" && break
    sleep 0.1
done
kill -TERM $!
wait $! || fail "the first run"

cases=0
# refused TEXT... [-- COMMAND...]: a run, by COMMAND, must end with 1 and print each text.
refused() {
    local texts=() status=0
    while [ $# -gt 0 ] && [ "$1" != -- ]; do texts+=("$1"); shift; done
    [ $# -eq 0 ] || shift
    timeout 60 "$@" "$bin/rap-control" run --state "$work/state" --listen 127.0.0.1:0 >"$work/output" 2>&1 || status=$?
    [ $status -eq 1 ] || fail "it ended with $status, not 1 (${texts[0]})"
    for text in "${texts[@]}"; do grep -qF -- "$text" "$work/output" || fail "it does not say: $text"; done
    cases=$((cases + 1))
}
fresh() { rm -rf "$work/state"; cp -a "$work/whole" "$work/state"; }
keys=$work/state/keys database=$work/state/db/control.sqlite
backup='back from a backup'

for name in master-secret server-root-certificate admin-token-hash; do
    fresh
    truncate -s 20 "$keys/$name"
    refused "$keys/$name is damaged" "$backup"
done
fresh
printf x | dd of="$keys/server-root-certificate" bs=1 seek=100 conv=notrunc status=none
refused "$keys/server-root-certificate is damaged" "$backup"
fresh
printf x | dd of="$keys/master-secret" bs=1 seek=3 conv=notrunc status=none
refused "$keys: master-secret and server-root-certificate don't belong together" 'from the same backup'
fresh
echo 'no database' >"$database"
refused "$database is damaged" "$work/state/db $backup"
fresh
dd if=/dev/urandom of="$database" bs=4096 seek=1 count=2 conv=notrunc status=none
refused "$database is damaged" "$work/state/db $backup"
fresh
rm "$database"
refused "$database is missing" "$backup"
fresh
chmod 644 "$database"
refused "$database has mode 644" 'chmod 600'

# shellcheck disable=SC2016 # the inner shell expands it
on_read_only=(unshare -m bash -c 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"')
fresh
for directory in "$work/state" "$work/state/db"; do
    refused "$work/state/db is on a file system that is mounted read-only" 'mount it writable' -- \
        "${on_read_only[@]}" "$directory"
done
# Only the first run writes beside the keys.
rm "$keys/has-database"
refused "$keys is on a file system that is mounted read-only" 'mount it writable' -- "${on_read_only[@]}" "$keys"
fresh
"${on_read_only[@]}" "$keys" "$bin/rap-control" run --state "$work/state" --listen 127.0.0.1:0 >"$work/output" 2>&1 &
for _ in $(seq 100); do
    grep -q ready "$work/output" && break
    sleep 0.1
done
grep -q ready "$work/output" || fail "keys that can only be read keep it from running"
kill -TERM $!
wait $! || fail "the run on keys that can only be read"
# With the database elsewhere nothing of the state is written.
status=0
"${on_read_only[@]}" "$work/state" "$bin/rap-control" run --state "$work/state" --listen 127.0.0.1:0 \
    --postgres 'postgresql:///x?host=/nowhere' >"$work/output" 2>&1 || status=$?
[ $status -eq 1 ] || fail "a database that is away ended it with $status"
grep -qF 'no connection to PostgreSQL' "$work/output" || fail "a state that can only be read is not enough for --postgres"
mkdir "$work/empty"
status=0
"${on_read_only[@]}" "$work/empty" "$bin/rap-control" init --state "$work/empty/state" --listen 127.0.0.1:8443 \
    >"$work/output" 2>&1 || status=$?
[ $status -eq 1 ] || fail "init on a read-only file system ended with $status"
grep -qF "$work/empty/state: Read-only file system; mount its file system writable" "$work/output" || fail "init's words"
echo "damaged-state: passed, $cases states"
