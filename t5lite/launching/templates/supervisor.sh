# The loop that starts all processes, ends them together, and starts them again where that may help.
grace_seconds=20  # for the others after a failure: their collectives wait for the dead one and may never return
max_restarts=@MAX_RESTARTS@
declare -A running=()
status=0
interrupts=0

say() { echo "t5lite launch: $1" >&2; }

# final CODE: whether another start would do nothing, or end in the same way.
final() { case $1 in @FINAL@) return 0 ;; *) return 1 ;; esac; }

tell_all() {
  local pid
  for pid in "${!running[@]}"; do tell "$pid" "${running[$pid]}" "$1"; done
}

# shellcheck disable=SC2329  # the trap calls it
on_interrupt() {
  interrupts=$((interrupts + 1))
  if (( interrupts == 1 )); then
    say "stopping ${#running[@]} processes; again to kill them"
    tell_all TERM
  else
    tell_all KILL
  fi
}
trap on_interrupt INT TERM HUP

# ended ID CODE: takes over the code of a process that ended. The first failure is the cause, unless another process
# then says that it is not worth another start.
ended() {
  (( $2 != 0 )) || return 0
  if (( status == 0 )); then
    status=$2
    if (( interrupts == 0 && ${#running[@]} )); then
      say "process $1 failed with exit code $2; stopping the others"
      tell_all TERM
      kill_at=$((SECONDS + grace_seconds))
    fi
  elif ! final "$status" && final "$2"; then
    status=$2
  fi
}

train_once() {
  local id pid code kill_at=
  status=0
  for (( id = 0; id < num_processes; id++ )); do
    start "$id"
    running[$!]=$id
  done
  while (( ${#running[@]} )); do
    for pid in "${!running[@]}"; do
      kill -0 "$pid" 2>/dev/null && continue
      code=0
      wait "$pid" || code=$?
      id=${running[$pid]}
      unset "running[$pid]"
      ended "$id" "$code"
    done
    if [[ -n $kill_at ]] && (( SECONDS >= kill_at )); then tell_all KILL; fi
    sleep 0.2 || true  # a Ctrl-C can hit it before it is in a process group of its own
  done
}

for (( restart = 1; ; restart++ )); do
  train_once
  if final "$status" || (( interrupts )); then break; fi
  if (( restart > max_restarts )); then
    if (( max_restarts )); then say "exit code $status after $max_restarts restarts; no more"; fi
    break
  fi
  say "exit code $status; starting again ($restart of $max_restarts)"
  sleep 5 || true
  if (( interrupts )); then break; fi
done
exit "$status"
