// What the program says to Paddle Lite, as far as a compiler has to know it. Nothing here runs.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>
namespace paddle {
namespace lite_api {
enum class TargetType : int { kHost = 1 };
struct Tensor {
  void Resize(const std::vector<std::int64_t> &shape);
  template <typename T> const T *data() const;
  template <typename T> T *mutable_data(TargetType type = TargetType::kHost) const;
};
struct PaddlePredictor {
  virtual std::unique_ptr<Tensor> GetInput(int i) = 0;
  virtual std::unique_ptr<const Tensor> GetOutput(int i) const = 0;
  virtual void Run() = 0;
};
struct MobileConfig {
  void set_model_from_file(const std::string &path);
  void set_threads(int threads);
};
template <typename Config> std::shared_ptr<PaddlePredictor> CreatePaddlePredictor(const Config &);
} // namespace lite_api
} // namespace paddle
