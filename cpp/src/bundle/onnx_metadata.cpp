#include "bundle/onnx_metadata.hpp"

#include <stdexcept>

namespace fleetnet {
namespace {

constexpr std::uint64_t kMetadata = 14;  ///< number of `metadata_props` in ONNX's ModelProto

/// The fields of one protobuf message, one after the other.
class Message {
   public:
    explicit Message(Bytes bytes) : bytes_(bytes) {}

    std::uint64_t number = 0;
    bool has_content = false;  ///< text, bytes or an inner message
    Bytes content;

    bool next() {
        if (place_ >= bytes_.size) return false;
        const std::uint64_t tag = varint();
        number = tag >> 3;
        const int kind = static_cast<int>(tag & 7);
        has_content = kind == 1 || kind == 2 || kind == 5;
        if (kind == 0) {
            varint();
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
        std::uint64_t value = 0;
        for (int shift = 0; shift < 64; shift += 7) {
            if (place_ >= bytes_.size) throw std::invalid_argument("the ONNX file is truncated");
            const std::uint8_t byte = bytes_[place_++];
            value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
            if (byte < 0x80) return value;
        }
        throw std::invalid_argument("not an ONNX file");
    }
};

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

}  // namespace fleetnet
