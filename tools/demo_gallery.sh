#!/usr/bin/env bash
# From two films to "where else was this person?": renders films of 20 people whom the quickstart's
# model never saw, cuts the people out, fills a gallery, numbers them over both cameras and serves the
# page. Trains the model first (tools/quickstart.sh) if it is not there. `SERVE=0` ends before the
# page. Run again, it goes on where it stopped. Leaves runs/gallery-demo/.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/environment.sh
use_environment .venv requirements.txt
run=runs/quickstart
demo=runs/gallery-demo

[ -d $run/export/1 ] || bash tools/quickstart.sh
echo "== 1/5 calibrating the distances that mean the same person"
[ -d $demo/model/1 ] || {
    "$PYTHON" tools/calibrate_threshold.py --run $run > /dev/null
    "$PYTHON" tools/export_model.py --run $run --output $demo/model
}
echo "== 2/5 rendering two films"
"$PYTHON" tools/render_films.py --output $demo/films
echo "== 3/5 cutting the people out of them"
"$PYTHON" tools/crop_people.py $demo/films/{entrance,yard}.mp4 \
    --detections $demo/films/{entrance,yard}.txt \
    --per-track 5 --least-visible 0.5 --output $demo/crops
echo "== 4/5 filling the gallery and numbering people over both cameras"
gallery=(--gallery $demo/people.db --model $demo/model)
"$PYTHON" tools/gallery.py add $demo/crops/crops.csv "${gallery[@]}"
"$PYTHON" tools/gallery.py identify "${gallery[@]}" --truth $demo/films/tracks.csv
echo "== 5/5 the page; try it with an image of $demo/crops"
[ "${SERVE:-1}" = 0 ] || exec "$PYTHON" tools/gallery.py serve "${gallery[@]}" --port "${PORT:-8765}"
