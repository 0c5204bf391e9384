config=${TMPDIR:-/tmp}/t5lite.json
cat >"$config" <<'T5LITE_CONFIG'
@CONFIG@
T5LITE_CONFIG
exec t5lite train --config "$config"@ARGUMENTS@
