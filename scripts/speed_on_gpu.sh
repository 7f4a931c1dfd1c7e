#!/usr/bin/env bash
# Measures this server against stock vLLM on a GPU, in one go of about an hour, after `make env` on the same machine.
#   scripts/speed_on_gpu.sh [MODEL] [FOLDER]
# MODEL: the folder of a checkpoint whose chat template reads enable_thinking, or its name on the Hugging Face hub; default:
# Qwen/Qwen3-0.6B. FOLDER: a new folder for figures and logs; default: gpu-speed. A measurement that fails is named at the
# end, and the others are made all the same.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly SOURCE=${1:-Qwen/Qwen3-0.6B} OUT=${2:-gpu-speed}
export PATH=$PWD/.venv/bin:$PATH
declare -a FAILED=()

# Runs a measurement, with its table in a file of the step's name.
measure() { # $1: name; rest: command
  echo "$1 ..."
  "${@:2}" 2>&1 | tee "$OUT/$1.txt" || FAILED+=("$1")
}

mkdir "$OUT"
nvidia-smi | tee "$OUT/machine.txt"
MODEL=$SOURCE
[[ -d $SOURCE ]] || MODEL=$(python -c 'import sys, huggingface_hub as hub; print(hub.snapshot_download(sys.argv[1]))' "$SOURCE")
readonly MODEL

# The decision, and every mode against stock vLLM: with many streams, and with so few that the machine waits for the server.
measure load-64 autotool bench perf load --model "$MODEL" --streams 64 --requests 512 --input-tokens 512 --output-tokens 256 \
  --out "$OUT/load-64.json"
measure load-8 autotool bench perf load --model "$MODEL" --streams 8 --requests 64 --input-tokens 512 --output-tokens 256 \
  --out "$OUT/load-8.json"
measure overhead autotool bench perf overhead --against-vllm --model "$MODEL" --out "$OUT/overhead.json"
measure start autotool bench perf start --engine vllm --out "$OUT/start.json" -- --model "$MODEL"
measure tool-loop autotool bench perf tool-loop --out "$OUT/tool-loop.json"
for engine in vllm transformers; do
  measure "streams-$engine" autotool bench perf streams --engine "$engine" --model "$MODEL" --streams 1,8,64
done
for engine in vllm stock-vllm; do
  measure "memory-$engine" autotool bench perf soak --engine "$engine" -- --model "$MODEL"
done

if ((${#FAILED[@]})); then
  echo "failed: ${FAILED[*]}" >&2
  exit 1
fi
