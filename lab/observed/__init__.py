"""What can be observed of a world, as columns and Parquet files. Knows how no world came about; holds its truth as a column."""
