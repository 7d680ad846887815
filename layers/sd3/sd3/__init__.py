"""The SD3 image service: contract, jobs, upstreams and storage."""
