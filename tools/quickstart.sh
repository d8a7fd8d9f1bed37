#!/usr/bin/env bash
# The main job on rendered people, in minutes on two CPU cores: images, records, training,
# evaluation on people never trained on, export, a query of the export. Leaves runs/quickstart/.
# Run again, it goes on where it stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/environment.sh
use_environment .venv requirements.txt
data=runs/quickstart-data
run=runs/quickstart

echo "== 1/5 rendering people and building records"
"$PYTHON" -m tfrecords.build synthetic --root $data/images --output $data/records \
    --train-identities 300
echo "== 2/5 training (watch it: .venv/bin/tensorboard --logdir $run/tensorboard)"
"$PYTHON" train_net.py --config quickstart --output $run --resume || {
    status=$?
    echo "the training did not reach its end; run this again to go on." >&2
    exit $status
}
echo "== 3/5 evaluating on people never trained on"
"$PYTHON" test_net.py --run $run
echo "== 4/5 exporting"
[ -d $run/export/1 ] || "$PYTHON" tools/export_model.py --run $run
echo "== 5/5 querying the export: two images of one person, and one of another"
queries=("$data"/images/query/*.jpg)
person=$(basename "${queries[0]}" | cut -d_ -f1)
matches=("$data"/images/bounding_box_test/"$person"_c*.jpg)
"$PYTHON" tools/query_export.py --model $run/export \
    "${queries[0]}" "${matches[-1]}" "${queries[-1]}"
"$PYTHON" - $run <<'PYTHON'
import json, sys
progress, results = (json.load(open(f"{sys.argv[1]}/{name}.json"))
                     for name in ("checkpoints/progress", "results"))
for when, figures in (("before", progress["untrained"]), ("after", results)):
    print(f"{when} training: rank-1 {figures['rank_1']:.1%}, mAP {figures['mean_ap']:.1%}")
PYTHON
echo "pictures: $run/ranked_lists.png, $run/cmc.png"
