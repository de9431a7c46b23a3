#!/bin/sh
# Study of all strategies for the table of the documentation. Recognizers train on trimmed toy clips
# of one look. Their backbones start detectors, which train on untrimmed videos of another look, by
# every strategy with three seeds. Finished runs are not repeated.
# Usage: sh benchmarks/study.sh [PYTHON [PROCESSES]]; each process takes the next run, on one thread.
set -eu
python=${1:-python}
processes=${2:-2}
data=data/toy_study
weights=work_dirs/study_pretrain
figures=configs/toy
export OMP_NUM_THREADS=1

"$python" tools/make_toy_dataset.py
"$python" tools/make_toy_dataset.py --out $data/shapes --fps 6 --size 48
"$python" tools/make_toy_dataset.py --out $data/trimmed_fur --trimmed --look fur --fps 6 --size 48 \
    --train-videos 1800 --test-videos 360 --min-seconds 2 --max-seconds 5
for network in r3d10 vit4; do
    [ -f $weights/recognizer_$network.pth ] && continue
    "$python" tools/train.py configs/toy/recognizer_${network}_toy.py --work-dir $weights/$network
    cp "$(cat $weights/$network/last_checkpoint)" $weights/recognizer_$network.pth
done

# compare NAME CONFIG ARGUMENTS: all processes share the runs, then one measures and reports.
compare() {
    name=$1
    config=$2
    shift 2
    for process in $(seq "$processes"); do
        "$python" tools/compare_strategies.py "$config" --work-dir work_dirs/study/$name \
            --val-interval 1 "$@" &
    done
    wait
    "$python" tools/compare_strategies.py "$config" --work-dir work_dirs/study/$name \
        --val-interval 1 "$@"
    for kind in json png; do
        cp work_dirs/study/$name/comparison.$kind $figures/strategies_$name.$kind
    done
}

compare r3d10 configs/toy/study_r3d10_toy.py --epochs 8 --target-map 0.8 --strategies \
    full direct:0.5 direct:0.25 direct:0.125 guided:0.5 guided:0.25 guided:0.125 \
    frozen frozen-stages:1 frozen-stages:2 frame-dropout:0.25 early-pooling:0.25 \
    dropit:0.25 memory-bank:0.25
compare r3d10_long configs/toy/study_r3d10_toy.py --epochs 16 --target-map 0.8 --strategies \
    full direct:0.25 guided:0.25
compare vit4 configs/toy/study_vit4_toy.py --epochs 8 --strategies \
    full token:0.25 adapters frozen
# Sideways needs a causal network of single frames, trained online and from scratch.
compare online configs/toy/online_gru_cnn4_sbp-r4_toy.py --epochs 10 --strategies \
    full sideways direct:0.25 guided:0.25 frozen \
    --strategy-options sideways model.backbone.options.steps_at_once=8
