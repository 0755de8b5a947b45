// What the program says to ncnn, as far as a compiler has to know it. Nothing here runs.
#pragma once
namespace ncnn {
struct Option {
  bool use_vulkan_compute, use_fp16_packed, use_fp16_storage, use_fp16_arithmetic, use_bf16_storage;
};
struct Mat {
  enum PixelType { PIXEL_RGB };
  static Mat from_pixels(const unsigned char *pixels, int type, int w, int h);
  operator const float *() const;
  int w;
};
struct Extractor {
  int input(const char *name, const Mat &in);
  int extract(const char *name, Mat &out);
};
struct Net {
  Option opt;
  int load_param(const char *path);
  int load_model(const char *path);
  Extractor create_extractor() const;
};
} // namespace ncnn
