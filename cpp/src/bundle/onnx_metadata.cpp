#include "bundle/onnx_metadata.hpp"

#include <algorithm>
#include <initializer_list>
#include <stdexcept>
#include <utility>

namespace fleetnet {
namespace {

constexpr std::uint64_t kMetadata = 14;  ///< number of `metadata_props` in ONNX's ModelProto

/// The fields of one protobuf message, one after the other.
class Message {
   public:
    explicit Message(Bytes bytes) : bytes_(bytes) {}

    std::uint64_t number = 0;
    std::uint64_t value = 0;   ///< if there is no content
    bool has_content = false;  ///< text, bytes or an inner message
    Bytes content;

    bool next() {
        if (place_ >= bytes_.size) return false;
        const std::uint64_t tag = varint();
        number = tag >> 3;
        const int kind = static_cast<int>(tag & 7);
        has_content = kind == 1 || kind == 2 || kind == 5;
        if (kind == 0) {
            value = varint();
        } else if (kind == 2) {
            take(varint());
        } else if (has_content) {
            take(kind == 1 ? 8 : 4);
        } else {
            throw std::invalid_argument("not an ONNX file");
        }
        return true;
    }

   private:
    Bytes bytes_;
    std::size_t place_ = 0;

    void take(std::uint64_t length) {
        if (length > bytes_.size - place_)
            throw std::invalid_argument("the ONNX file is truncated");
        content = Bytes(bytes_.data + place_, static_cast<std::size_t>(length));
        place_ += static_cast<std::size_t>(length);
    }

    std::uint64_t varint() {
        std::uint64_t made = 0;
        for (int shift = 0; shift < 64; shift += 7) {
            if (place_ >= bytes_.size) throw std::invalid_argument("the ONNX file is truncated");
            const std::uint8_t byte = bytes_[place_++];
            made |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
            if (byte < 0x80) return made;
        }
        throw std::invalid_argument("not an ONNX file");
    }
};

/// ONNX's messages that have tensors in them, as far as they lead there.
enum class Kind { model, graph, node, attribute, tensor, sparse_tensor, function, training };

/// What the inner message of a field is, by the field's number.
std::initializer_list<std::pair<std::uint64_t, Kind>> inner(Kind kind) {
    static const std::initializer_list<std::pair<std::uint64_t, Kind>>
        model = {{7, Kind::graph}, {20, Kind::training}, {25, Kind::function}},
        graph = {{1, Kind::node}, {5, Kind::tensor}, {15, Kind::sparse_tensor}},
        node = {{5, Kind::attribute}},
        attribute = {{5, Kind::tensor}, {6, Kind::graph},          {10, Kind::tensor},
                     {11, Kind::graph}, {22, Kind::sparse_tensor}, {23, Kind::sparse_tensor}},
        sparse_tensor = {{1, Kind::tensor}, {2, Kind::tensor}}, function = {{7, Kind::node}},
        training = {{1, Kind::graph}, {2, Kind::graph}};
    switch (kind) {
        case Kind::model:
            return model;
        case Kind::graph:
            return graph;
        case Kind::node:
            return node;
        case Kind::attribute:
            return attribute;
        case Kind::sparse_tensor:
            return sparse_tensor;
        case Kind::function:
            return function;
        case Kind::training:
            return training;
        case Kind::tensor:
            break;
    }
    return {};
}

/// Protobuf itself reads no deeper than this.
constexpr int kDeepest = 100;
constexpr std::uint64_t kExternalData = 13, kDataLocation = 14;  // of TensorProto

bool is_elsewhere(Bytes content, Kind kind, int levels) {
    if (levels == 0) return false;
    const auto leads = inner(kind);
    Message fields(content);
    while (fields.next()) {
        if (kind == Kind::tensor) {
            const bool file = fields.number == kExternalData && fields.has_content;
            const bool external = fields.number == kDataLocation && !fields.has_content;
            if (file || (external && fields.value != 0)) return true;
            continue;
        }
        if (!fields.has_content) continue;
        const auto* found = std::find_if(leads.begin(), leads.end(), [&](const auto& lead) {
            return lead.first == fields.number;
        });
        if (found != leads.end() && is_elsewhere(fields.content, found->second, levels - 1)) {
            return true;
        }
    }
    return false;
}

std::string text_of(Bytes content) { return {content.begin(), content.end()}; }

}  // namespace

std::optional<std::string> onnx_metadata(Bytes model, const std::string& key) {
    std::optional<std::string> found;
    Message fields(model);
    while (fields.next()) {
        if (fields.number != kMetadata || !fields.has_content) continue;
        Message entry(fields.content);
        std::optional<Bytes> name, text;
        while (entry.next()) {
            if (entry.number != 1 && entry.number != 2) continue;
            std::optional<Bytes>& field = entry.number == 1 ? name : text;
            field = entry.has_content ? std::optional(entry.content) : std::nullopt;
        }
        // Of several entries of one name the last counts, as in Python.
        if (name && text && text_of(*name) == key) found = text_of(*text);
    }
    return found;
}

bool has_external_data(Bytes model) {
    try {
        return is_elsewhere(model, Kind::model, kDeepest);
    } catch (const std::invalid_argument&) {
        return false;
    }
}

}  // namespace fleetnet
