// The metadata of an ONNX file, read without a library for ONNX.
#pragma once

#include <optional>
#include <string>

#include "bytes.hpp"

namespace fleetnet {

/// Return the text that an ONNX model carries under `key`.
///
/// Reads only the outermost level of the protobuf encoding: parsing the whole graph would be slow.
/// Throws std::invalid_argument if `model` is not a protobuf message.
std::optional<std::string> onnx_metadata(Bytes model, const std::string& key);

/// Whether an ONNX file has tensors whose numbers are in other files; false if it is damaged.
bool has_external_data(Bytes model);

}  // namespace fleetnet
