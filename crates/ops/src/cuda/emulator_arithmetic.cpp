// The arithmetic of emulator.h that C++ has no words for, and that of cuBLASLt.
#include "emulator.h"

float widen_f16(unsigned short x) {
  const unsigned sign = unsigned(x & 0x8000) << 16, exponent = x >> 10 & 31, fraction = x & 1023;
  if (exponent == 31) return __uint_as_float(sign | 0x7F800000 | fraction << 13 | (fraction ? 0x400000 : 0));
  if (exponent == 0) return __uint_as_float(sign | __float_as_uint(float(fraction) * 0x1p-24f));
  return __uint_as_float(sign | (exponent + 112) << 23 | fraction << 13);
}

unsigned short narrow_f16(float x) {
  const unsigned bits = __float_as_uint(x), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return (unsigned short)(0x7FFF);
  if (magnitude >= 0x477FF000) return (unsigned short)(sign | 0x7C00);
  // A sum with this rounds away what an f16 has no place for: the spacing of its smallest numbers, or ten bits below the first.
  const unsigned exponent = magnitude < 0x38800000 ? 113 : magnitude >> 23;
  const float scale = __uint_as_float((exponent + 13) << 23), rounded = (__uint_as_float(magnitude) + scale) - scale;
  const unsigned wide = __float_as_uint(rounded);
  if (rounded < 0x1p-14f) return (unsigned short)(sign | unsigned(rounded * 0x1p24f));
  return (unsigned short)(sign | (wide - (112u << 23)) >> 13);
}

namespace {
float widen(unsigned short x, bool half) { return half ? widen_f16(x) : __uint_as_float(unsigned(x) << 16); }
/// What a lane brings to a product: its registers of a and of b.
struct Fragments {
  unsigned a[4], b[2];
};
}  // namespace

void emulator::mma(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2], bool half) {
  const Fragments mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const Slot* const slots = exchange(~0u, &mine, sizeof(mine), "mma");
  for (int i = 0; i < 4; ++i) {
    const int row = lane() / 4 + i / 2 * 8, column = lane() % 4 * 2 + i % 2;
    for (int k = 0; k < 16; ++k) {
      Fragments left, right;
      memcpy(&left, slots[row % 8 * 4 + k % 8 / 2].bytes, sizeof(left));
      memcpy(&right, slots[column * 4 + k % 8 / 2].bytes, sizeof(right));
      const unsigned x = left.a[row / 8 + k / 8 * 2] >> k % 2 * 16, y = right.b[k / 8] >> k % 2 * 16;
      sum[i] += widen((unsigned short)(x), half) * widen((unsigned short)(y), half);
    }
  }
}

extern "C" {

struct Gemm {
  size_t rows, k, m;
  const unsigned short* x;
  size_t ldx;
  const unsigned short* weight;
  uint64_t half;
  void* y;
  size_t ldy;
  uint64_t narrow;
  const float *bias, *residual;
  size_t ldr;
};
/// The product that cuBLASLt would make.
void emulator_gemm(const Gemm* gemm) {
  const bool half = gemm->half;
  for (size_t row = 0; row < gemm->rows; ++row) {
    for (size_t column = 0; column < gemm->m; ++column) {
      const size_t at = row * gemm->ldy + column;
      float sum = 0;
      for (size_t i = 0; i < gemm->k; ++i) sum += widen(gemm->x[row * gemm->ldx + i], half) * widen(gemm->weight[column * gemm->k + i], half);
      if (gemm->residual) sum += gemm->residual[row * gemm->ldr + column];
      if (gemm->bias) sum += gemm->bias[column];
      const unsigned bits = __float_as_uint(sum);
      if (gemm->narrow) {
        static_cast<unsigned short*>(gemm->y)[at] = sum == sum ? (bits + 0x7FFF + (bits >> 16 & 1)) >> 16 : 0x7FC0;
      } else {
        static_cast<float*>(gemm->y)[at] = sum;
      }
    }
  }
}
}
