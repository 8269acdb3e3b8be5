# Training on NVIDIA GPUs. Not built here: nobody has reported a build yet. Whoever builds it, please remove this line.
#
#   docker build -t srgan-dist .
#   docker run --rm --gpus all --shm-size 8g -v "$PWD:/data" srgan-dist srgan train srgan-x4 \
#       --data.shards /data/shards/div2k-x4 --run-dir /data/runs/srgan-x4
#
# torch brings its own CUDA libraries; of the base image it needs what connects the container with the host's driver.
FROM nvidia/cuda:12.8.1-base-ubuntu24.04

# torch.compile needs a C compiler and Python's headers.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev python3 python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /srgan_dist
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY srgan_dist srgan_dist
RUN python3 -m venv /opt/srgan \
    && /opt/srgan/bin/pip install --no-cache-dir ".[remote,sample,onnx]"
COPY train.py accelerate_config.yaml ./
COPY launch launch

# Any user number can run it, without a name and without a home directory: caches lie here, and relative paths such as
# runs/ and mlflow.db in the working directory.
ENV PATH="/opt/srgan/bin:$PATH" \
    SRGAN_CACHE=/cache \
    HF_HOME=/cache/huggingface \
    MPLCONFIGDIR=/cache/matplotlib \
    TORCH_HOME=/cache/torch \
    TORCHINDUCTOR_CACHE_DIR=/cache/compiled \
    TRITON_CACHE_DIR=/cache/triton
RUN mkdir --mode=1777 /cache \
    && chmod 1777 /srgan_dist \
    && srgan --version

USER 1000:1000
CMD ["srgan", "--help"]
