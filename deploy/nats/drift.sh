#!/bin/sh
# Says whether the replicas of every stream hold the same: drift.sh http://nats-1:8222 http://nats-2:8222 http://nats-3:8222
# needs curl and jq. Each server tells of its own copy: number of messages, first and last, holes, bytes. Writers that are
# at work make differences that are gone a moment later, so one that stays over several runs is what counts; the first
# address stands on the side of <.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

copy() {
  curl --silent --show-error --fail "$1/jsz?accounts=true&streams=true&limit=10000" |
    jq --raw-output '.account_details[].stream_detail[]
      | [.name, .state.messages, .state.first_seq, .state.last_seq, .state.num_deleted // 0, .state.bytes] | @tsv' |
    sort
}

same=0
copy "$1" > "$dir/first"
first=$1
shift
for at in "$@"; do
  copy "$at" > "$dir/other"
  if ! diff "$dir/first" "$dir/other"; then
    echo "$first and $at differ" >&2
    same=1
  fi
done
exit "$same"
