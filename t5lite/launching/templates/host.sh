export T5LITE_JOB=$1
IFS= read -r text
config=$(mktemp) && printf "%s\n" "$text" >"$config" && mv "$config" "$config.json" && config=$config.json
trap "rm -f \"\$config\"" EXIT
@T5LITE@ train --coordinator-address @COORDINATOR@ --num-processes @NUM_PROCESSES@ --config "$config"@ARGUMENTS@ --process-id "$2" </dev/null &
train=$!
exec 3<&0
{
  while read -r signal; do kill -s "$signal" "$train"; done
  kill -s TERM "$train"
} <&3 2>/dev/null &
listener=$!
code=0
wait "$train" || code=$?
kill "$listener" 2>/dev/null
exit "$code"
