"""What people do with runs: sweep, report, explain, benchmark, stream."""
