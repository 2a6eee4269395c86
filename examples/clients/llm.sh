#!/bin/sh
# `llm`, unmodified, by a file of models: OPENAI_BASE_URL and OPENAI_API_KEY say where. Name the parts, or none.
set -eu

LLM_USER_PATH=$(mktemp -d); export LLM_USER_PATH
trap 'rm -r "$LLM_USER_PATH"' EXIT
cat > "$LLM_USER_PATH/extra-openai-models.yaml" <<YAML
- model_id: voxpop
  model_name: voxpop
  api_base: $OPENAI_BASE_URL
  api_key_name: voxpop
  supports_tools: true
  supports_schema: true
- model_id: nobody
  model_name: no-such-model
  api_base: $OPENAI_BASE_URL
  api_key_name: voxpop
YAML
llm=${LLM:-llm}
$llm keys set voxpop --value "$OPENAI_API_KEY"
ask() { $llm prompt --no-log "$@"; }

plain() { ask -m voxpop --no-stream "Did a ballot box burn in Dornick?"; }
stream() { ask -m voxpop "Did a ballot box burn in Dornick?"; }
tool() { ask -m voxpop --no-stream --functions 'def weather(city: str) -> str:
    """The weather in a city."""
    return f"12 degrees in {city}"' --tools-debug "Hello" 2>&1; }
shape() { ask -m voxpop --no-stream --schema 'city, degrees int' "Hello"; }
error() { ask -m nobody "Hello" 2>&1 || echo "exit $?"; }
limit() {  # the tier of the key lets one through
  ask -m voxpop --no-stream "Hello" > /dev/null 2>&1 || true
  ask -m voxpop --no-stream "Hello" 2>&1 || echo "exit $?"
}

[ $# -gt 0 ] || set -- plain stream tool shape error limit
for part in "$@"; do
  echo "== $part"
  $part
done
