"""GAI-P3, the second system: faces from a conditional NVAE, judged, retouched and evaluated.

    collection = Collection(folder)  # 01: .images (N, R, R, 3) uint8 and .table
    kept = read_table("…/kept.parquet")  # 02: row of the collection, probability
    values = read_table("…/values.parquet")  # 03: row, and the five conditions
    regressors = load("…/regressors.safetensors")  # 03: a ConditionCNN; see its `measure`
    faces = training_faces(collection, values)  # 03: ConditionedFaces, what the NVAE learns
    network = load("…/nvae.safetensors")  # 04: an NVAE; load("nvae") is the embedded one

`load` is `ohlora_lib.checkpoints.load`; the folders are those of the stages 01_collect to
04_generator.
"""
