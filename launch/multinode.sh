#!/usr/bin/env bash
# Start one training run on several machines: run the same command on each, with its own --rank.
#
#   launch/multinode.sh --nodes 2 --rank 0 --ip 10.0.0.1 --gpus 8 srgan-x4 [flags of train.py]
#
# --gpus is the number of processes per machine (also on CPUs). --port defaults to 29500. Every machine needs the
# repository, the shards (--data.shards) and, to resume after a stop, the same run directory on a shared file system.
# With the image of the Dockerfile, which contains the repository, put this before the command:
#
#   docker run --rm --gpus all --network host --shm-size 8g -v /data:/data srgan-dist
set -euo pipefail
cd "$(dirname "$0")/.."

nodes="" rank="" ip="" gpus="" port=29500
while [[ "${1:-}" == --nodes || "${1:-}" == --rank || "${1:-}" == --ip || "${1:-}" == --gpus || "${1:-}" == --port ]]; do
    name="${1#--}"
    printf -v "$name" %s "${2:?$1 needs a value}"
    shift 2
done
for name in nodes rank ip gpus; do
    [[ -n "${!name}" ]] || { echo "error: --$name is missing; see the comment at the top of $0" >&2; exit 2; }
done
[[ $# -gt 0 ]] || { echo "error: name a preset, as for train.py" >&2; exit 2; }

many=()
if ((nodes * gpus > 1)); then # accelerate rejects these flags for a single process
    many=(--multi_gpu --num_machines "$nodes" --machine_rank "$rank" --main_process_ip "$ip" --main_process_port "$port")
fi
exec accelerate launch --config_file accelerate_config.yaml --num_processes "$((nodes * gpus))" "${many[@]}" \
    train.py "$@" --expect-world-size "$((nodes * gpus))"
