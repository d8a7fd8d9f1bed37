#!/usr/bin/env bash
# Measures a row of docs/results.md again, from the unpacked dataset to the figure:
#   tools/reproduce.sh NAME DATASET_FOLDER
# NAME is one of osnet, lin, csn_market, done_right, siamese (Market-1501) and csn_viper (VIPeR);
# docs/datasets.md says where to get them. Run again, it goes on where it stopped. Leaves
# runs/reproduce/NAME/.
set -euo pipefail
if [[ $# != 2 || ! -d $2 ]]; then
    echo "usage: tools/reproduce.sh NAME DATASET_FOLDER; the folder must exist" >&2
    exit 2
fi
root=$(realpath "$2")
cd "$(dirname "$0")/.."
case $1 in
    osnet) dataset=market1501 recipe=(scratch_osnet_x025) ;;
    lin) dataset=market1501 recipe=(scratch_osnet_x025 --variant lin) ;;
    csn_market) dataset=market1501 recipe=(csn_l23 --variant market1501 --variant cpu) ;;
    csn_viper) dataset=viper recipe=(csn_l23 --variant viper) ;;
    done_right) dataset=market1501 recipe=(done_right_osnet_x025) ;;
    siamese) dataset=market1501 recipe=(siamese_twin --variant market1501) ;;
    *) echo "error: unknown name $1; the first lines of this script list them." >&2; exit 2 ;;
esac
source tools/environment.sh
use_environment .venv requirements.txt
records=runs/reproduce/$dataset-records
run=runs/reproduce/$1

"$PYTHON" -m tfrecords.build $dataset --root "$root" --output $records
"$PYTHON" train_net.py --config "${recipe[@]}" --output "$run" --resume data.records=$records
"$PYTHON" test_net.py --run "$run"
if [[ -d $run/pretraining ]]; then
    echo "== its first stage alone"
    "$PYTHON" test_net.py --run "$run/pretraining"
fi
