"""Data in shards: Hugging Face data sets, Parquet with images in it, tar archives of WebDataset."""
