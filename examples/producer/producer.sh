#!/usr/bin/env bash
# Feeds a response as its producer "curl", over HTTP: producer.sh RESPONSE
set -euo pipefail

base=${MIDSTREAM_URL:-http://127.0.0.1:8080}

# What an agent says: one message, piece by piece. What is left out, Midstream fills in.
events=(
  '{"type":"response.output_item.added","item":{"id":"m","type":"message","role":"assistant","content":[]}}'
  '{"type":"response.output_text.delta","item_id":"m","content_index":0,"delta":"Hello "}'
  '{"type":"response.output_text.delta","item_id":"m","content_index":0,"delta":"from curl."}'
  '{"type":"response.output_item.done","item":{"id":"m","type":"message","role":"assistant","content":[{"type":"output_text","text":"Hello from curl."}]}}'
)

# store PLACE LAST [EVENT…] returns once the events are stored, the first of which has this place. What is sent again counts once,
# so what had no answer is sent as it was.
store() {
  until send "$@"; do
    (($? != 22)) || exit 1 # refused: curl has shown why
    sleep 1
  done
}

send() {
  printf '%s\n' "${@:3}" | curl -sS --fail-with-body --retry 10 --retry-connrefused --write-out '\n' \
    "$base/v1/responses/$response/events" -H 'Content-Type: application/x-ndjson' -H 'Midstream-Producer: curl' \
    -H "Midstream-Seq: $1" -H 'Midstream-Epoch: 0' -H "Midstream-Last: $2" --data-binary @-
}

response=$1
for place in "${!events[@]}"; do
  store "$place" false "${events[place]}"
done
store "${#events[@]}" true
