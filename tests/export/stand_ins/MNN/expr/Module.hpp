// What the program says to MNN, as far as a compiler has to know it. Nothing here runs.
#pragma once
#include <memory>
#include <string>
#include <vector>
enum MNNForwardType { MNN_FORWARD_CPU };
struct halide_type_t {};
template <typename T> halide_type_t halide_type_of();
namespace MNN {
struct BackendConfig {
  enum PrecisionMode { Precision_Normal, Precision_High, Precision_Low } precision;
};
struct ScheduleConfig {
  MNNForwardType type;
  BackendConfig *backendConfig;
};
namespace Express {
enum Dimensionformat { NHWC, NC4HW4, NCHW };
struct Variable {
  template <typename T> const T *readMap();
};
struct VARP {
  Variable *operator->() const;
};
VARP _Const(const void *values, std::vector<int> shape, Dimensionformat format, halide_type_t type);
struct Executor {
  struct RuntimeManager {
    static RuntimeManager *createRuntimeManager(const ScheduleConfig &config);
    static void destroy(RuntimeManager *manager);
  };
};
struct Module {
  struct Config;
  static Module *load(const std::vector<std::string> &inputs, const std::vector<std::string> &outputs,
                      const char *file, const std::shared_ptr<Executor::RuntimeManager> runtime,
                      const Config *config = nullptr);
  static void destroy(Module *module);
  virtual std::vector<VARP> onForward(const std::vector<VARP> &inputs) = 0;
};
} // namespace Express
} // namespace MNN
