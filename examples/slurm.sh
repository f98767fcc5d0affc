#!/bin/bash
# Protect a folder on several GPUs, then verify it on many, on a cluster with Slurm:
#
#     bash examples/slurm.sh /data/photos /data/protected
#
# It submits three jobs, each waiting for the one before: a run on the 4 GPUs of one machine, 8 parts
# of a verification on one GPU each, and a short job that judges them together. All machines see the
# same disk. What was cut off goes on when the same line is submitted again. A run that had to leave a
# picture out or unchanged exits with 1, and then nothing is verified: look at its log.
set -euo pipefail

source=${1:?usage: bash slurm.sh PHOTOS PROTECTED}
output=${2:?usage: bash slurm.sh PHOTOS PROTECTED}
gpus=4
parts=8

submit() {
    sbatch --parsable --kill-on-invalid-dep=yes --output="$output.%x.%j.log" "$@"
}

# --resume also begins a run where there is none. The batch is that of all GPUs together.
run=$(submit --job-name=protect-run --nodes=1 --gres="gpu:$gpus" --cpus-per-task=32 --time=2:00:00 \
    --wrap "torchrun --standalone --nproc-per-node $gpus -m protect run '$source' -o '$output' --preset strong --batch-size 512 --resume")

# The exit status of a part is its own verdict, so the next job waits for the end of all, good or bad.
shards=$(submit --job-name=protect-verify --dependency="afterok:$run" --array="1-$parts" \
    --gres=gpu:1 --cpus-per-task=8 --time=8:00:00 \
    --wrap "protect verify '$output' --tier release --shard \$SLURM_ARRAY_TASK_ID/$parts")

submit --job-name=protect-verdict --dependency="afterany:$shards" --cpus-per-task=8 --time=1:00:00 \
    --wrap "protect verify '$output' --tier release --device cuda --merge --report '$output.html'"
