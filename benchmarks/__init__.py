"""The proof: task sets, measurements, comparisons and reports."""
