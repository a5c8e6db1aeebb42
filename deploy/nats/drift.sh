#!/bin/sh
# Says whether the replicas of every stream hold the same: drift.sh http://nats-1:8222 http://nats-2:8222 http://nats-3:8222
# needs curl and jq. Each server tells of its own copy: number of messages, first and last, holes, bytes. Writers that are
# at work make differences that are gone a moment later, so one that stays over several runs is what counts; the first
# address that answers stands on the side of <. Exit codes: 0 the same, 1 different, 2 it cannot be told.
set -eu
if [ "$#" -lt 2 ]; then
  echo "usage: drift.sh URL URL... (the monitoring addresses of two servers at least)" >&2
  exit 2
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# copy ADDRESS FILE
copy() {
  if curl --silent --show-error --fail --max-time 30 "$1/jsz?accounts=true&streams=true&limit=10000" > "$dir/page" &&
    jq --raw-output '.account_details[].stream_detail[]
      | [.name, .state.messages, .state.first_seq, .state.last_seq, .state.num_deleted // 0, .state.bytes] | @tsv' \
      "$dir/page" > "$dir/lines" 2> "$dir/why" && [ -s "$dir/lines" ]; then
    sort "$dir/lines" > "$2"
  else
    echo "cannot read the streams of $1" >&2
    return 1
  fi
}

code=0 first='' read=0
for at in "$@"; do
  if ! copy "$at" "$dir/copy"; then
    unread=1
    continue
  fi
  read=$((read + 1))
  if [ -z "$first" ]; then
    first=$at
    mv "$dir/copy" "$dir/first"
  elif ! diff "$dir/first" "$dir/copy"; then
    echo "$first and $at differ" >&2
    code=1
  fi
done
if [ "$code" -eq 0 ] && { [ "$read" -lt 2 ] || [ -n "${unread:-}" ]; }; then
  exit 2
fi
exit "$code"
