// Times of graphs, for benches that take the package's kernels as they are.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

static void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  fprintf(stderr, "%s\n", cudaGetErrorString(error));
  exit(1);
}

/// Microseconds of a graph, `count` times, the shortest first.
static std::vector<float> microseconds_of(cudaGraph_t graph, cudaStream_t stream, size_t count) {
  cudaGraphExec_t steps;
  cudaEvent_t start, end;
  check(cudaGraphInstantiate(&steps, graph, 0));
  check(cudaEventCreate(&start));
  check(cudaEventCreate(&end));
  std::vector<float> times(count);
  for (float& time : times) {
    check(cudaEventRecord(start, stream));
    check(cudaGraphLaunch(steps, stream));
    check(cudaEventRecord(end, stream));
    check(cudaStreamSynchronize(stream));
    check(cudaEventElapsedTime(&time, start, end));
    time *= 1000;
  }
  std::sort(times.begin(), times.end());
  return times;
}
