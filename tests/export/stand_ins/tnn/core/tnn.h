// What the program says to TNN, as far as a compiler has to know it. Nothing here runs.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>
namespace TNN_NS {
enum DeviceType { DEVICE_NAIVE, DEVICE_ARM };
enum MatType { N8UC3, NCHW_FLOAT };
enum StatusCode { TNN_OK };
using DimsVector = std::vector<int>;
using InputShapesMap = std::map<std::string, DimsVector>;
struct Status {
  operator int() const;
};
struct ModelConfig {
  std::vector<std::string> params;
};
struct NetworkConfig {
  DeviceType device_type;
};
struct MatConvertParam {};
struct Mat {
  Mat(DeviceType device, MatType type, DimsVector shape, void *data);
  void *GetData();
};
struct Instance {
  Status SetInputMat(std::shared_ptr<Mat> mat, MatConvertParam param, std::string name = "");
  Status Forward();
  Status GetOutputMat(std::shared_ptr<Mat> &mat, MatConvertParam param, std::string name,
                      DeviceType device, MatType type = NCHW_FLOAT);
};
struct TNN {
  Status Init(ModelConfig &config);
  std::shared_ptr<Instance> CreateInst(NetworkConfig &config, Status &status,
                                       InputShapesMap shapes = InputShapesMap());
};
} // namespace TNN_NS
