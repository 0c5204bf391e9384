config=${TMPDIR:-/tmp}/t5lite.json
cat >"$config" <<'T5LITE_CONFIG'
@CONFIG@
T5LITE_CONFIG
export T5LITE_JOB=@NAME@  # the same after a restart
exec t5lite train --config "$config"@ARGUMENTS@
