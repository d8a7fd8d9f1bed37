#!/usr/bin/env bash
# Measures a row of docs/results.md again, from the unpacked dataset to the figures:
#   tools/reproduce.sh NAME DATASET_FOLDER [settings]
# NAME is one of osnet, finetune, lin, done_right, csn_market and siamese (Market-1501) and csn_viper
# (VIPeR); docs/datasets.md says where to get them. Settings, such as training.epochs=12, are the
# training's. Run again, it goes on where it stopped. Leaves runs/reproduce/NAME/.
set -euo pipefail
if [[ $# -lt 2 || ! -d $2 ]]; then
    echo "usage: tools/reproduce.sh NAME DATASET_FOLDER [settings]; the folder must exist" >&2
    exit 2
fi
name=$1
images=$(realpath "$2")
shift 2
dataset=market1501
case $name in
    osnet) recipe=(scratch_osnet_x025) ;;
    finetune) recipe=(finetune_osnet_x025) ;;
    lin) recipe=(scratch_osnet_x025 --variant lin) ;;
    done_right) recipe=(done_right_osnet_x025) ;;
    csn_market) recipe=(csn_l23 --variant market1501 --variant cpu) ;;
    siamese) recipe=(siamese_twin --variant market1501) ;;
    csn_viper) dataset=viper recipe=(csn_l23 --variant viper --variant cpu) ;;
    *) echo "error: unknown name $name; the first lines of this script list them." >&2; exit 2 ;;
esac
cd "$(dirname "$0")/.."
source tools/environment.sh
use_environment .venv requirements.txt
records=runs/reproduce/$dataset-records
run=runs/reproduce/$name

"$PYTHON" -m tfrecords.build $dataset --root "$images" --output $records
"$PYTHON" train_net.py --config "${recipe[@]}" --output $run --resume data.records=$records "$@"
if [[ -d $run/pretraining ]]; then
    echo "== its first stage alone"
    "$PYTHON" test_net.py --run $run/pretraining
fi
test=()
if [[ $name == siamese ]]; then
    test=(--split gallery)  # pairs; to rank the gallery by them takes far longer
fi
"$PYTHON" test_net.py --run $run "${test[@]}"
