#!/bin/sh
# curl alone: OPENAI_BASE_URL and OPENAI_API_KEY say where. Name the parts to run, or none.
set -eu

ask() {  # the body; then options of curl
  body=$1; shift
  curl --silent --show-error "$@" "$OPENAI_BASE_URL/chat/completions" \
    --header "Authorization: Bearer $OPENAI_API_KEY" --header "Content-Type: application/json" --data "$body"
}

QUESTION='"messages": [{"role": "user", "content": "Did a ballot box burn in Dornick?"}]'
HELLO='"messages": [{"role": "user", "content": "Hello"}]'
WEATHER='"tools": [{"type": "function", "function": {"name": "weather", "parameters":
  {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]'
SHAPE='"response_format": {"type": "json_schema", "json_schema": {"name": "weather", "strict": true, "schema":
  {"type": "object", "properties": {"city": {"type": "string"}, "degrees": {"type": "integer"}},
   "required": ["city", "degrees"], "additionalProperties": false}}}'

plain() { ask "{$QUESTION}"; }
stream() { ask "{$QUESTION, \"stream\": true}" --no-buffer; }
tool() { ask "{$HELLO, $WEATHER}"; }
shape() { ask "{$HELLO, $SHAPE}"; }
search() { ask "{$QUESTION, \"search_parameters\": {\"mode\": \"on\", \"to_date\": \"2001-01-01\"}}"; }
error() { ask "{\"model\": \"no-such-model\", $QUESTION}" --write-out '\n%{http_code}\n'; }
limit() {  # the tier of the key lets one through
  ask "{$QUESTION}" --output /dev/null
  ask "{$QUESTION}" --write-out '\n%{http_code} %header{retry-after}\n'
}

[ $# -gt 0 ] || set -- plain stream tool shape search error limit
for part in "$@"; do
  echo "== $part"
  $part
  echo
done
