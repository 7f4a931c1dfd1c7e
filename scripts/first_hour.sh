#!/usr/bin/env bash
# The first hour of a new user: a clean clone, a new environment, an empty cache, and then the commands of the README and
# the guides as pasted, in their order. Stops at the first wrong output, traceback or warning of a library; else it prints
# the seconds of every step.
#   scripts/first_hour.sh [FOLDER]    a new folder for all of it, about 6 GB; else one in /tmp
set -euo pipefail

readonly SOURCE=$(cd "$(dirname "$0")/.." && pwd)
readonly FOLDER=${1:-$(mktemp -d)}
readonly CLONE=$FOLDER/autotool-server LOGS=$FOLDER/logs
export AUTOTOOL_CACHE_DIR=$FOLDER/cache XDG_STATE_HOME=$FOLDER/state
declare -a TIMES
SERVER='' NUM_SERVERS=0

die() { echo "error: $*" >&2; exit 1; }

# Runs a command, with its output in a log of the step's name.
step() { # $1: name; rest: command
  local name=$1 start=$SECONDS
  echo "$name ..."
  "${@:2}" >>"$LOGS/$name.log" 2>&1 || die "The step \"$name\" failed: $(tail -20 "$LOGS/$name.log")"
  TIMES+=("$(printf '%6d s  %s' $((SECONDS - start)) "$name")")
}

# Runs the first block of commands of a page that has a text, without the installation that `make run` has done.
commands() { # $1: page; $2: text
  local block
  block=$(python -m support.examples commands "$1" "$2" | sed '/^pip /d') || return
  bash -eu -o pipefail -c "$block"
}

# Runs the Python programs of a page and compares what they print with what the page shows.
examples() { # $1: page
  python -m support.examples run "$1"
}

# Starts a server and waits until it is ready.
start_server() {
  local log=$LOGS/server-$((++NUM_SERVERS)).log
  # Ctrl-C is ignored by what a script starts in the background, unless that has a job of its own.
  set -m
  "$@" >"$log" 2>&1 &
  SERVER=$!
  set +m
  until grep -q 'Ready at http' "$log"; do
    kill -0 "$SERVER" 2>/dev/null || die "The server ended: $(tail -20 "$log")"
    sleep 0.5
  done
}

# Ends the server as Ctrl-C does in a terminal.
stop_server() {
  kill -INT -- "-$SERVER"
  wait "$SERVER" || [ $? -eq 130 ] || die "The server ended with an error."
  SERVER=''
}

check_logs() {
  if grep -EHni 'traceback|warning|deprecat|nanobind|leaked' "$LOGS"/*.log; then
    die "The lines above are for developers, and a new user met them."
  fi
}

trap '[ -z "$SERVER" ] || kill -- "-$SERVER"' EXIT
mkdir -p "$LOGS" "$FOLDER/examples"
git clone --quiet "$SOURCE" "$CLONE"
readonly GUIDES=$CLONE/docs/guides
export PATH=$CLONE/.venv/bin:$PATH PYTHONPATH=$CLONE/tests

cd "$CLONE"
step 'make run' start_server make run
step 'the example of the README' examples README.md
step 'autotool chat' commands "$GUIDES/client.md" '| autotool chat'
step 'stop the first server' stop_server

cd "$FOLDER/examples"
step 'files of the examples' commands "$GUIDES/client.md" 'cat > weather.py'
step 'serve with tools' start_server commands "$GUIDES/tools.md" 'autotool serve'
step 'examples of the client' examples "$GUIDES/client.md"
step 'examples of the tools' examples "$GUIDES/tools.md"
step 'stop the second server' stop_server

cd "$CLONE"
step 'bench run' commands "$GUIDES/benchmark.md" 'autotool bench run'
step 'bench items' commands "$GUIDES/benchmark.md" 'autotool bench items'
step 'train' commands "$GUIDES/train.md" 'autotool train run'
step 'serve the trained model' start_server commands "$GUIDES/train.md" 'autotool serve'
step 'stop the third server' stop_server

check_logs
printf '%s\n' "${TIMES[@]}"
