// A bundle on disk: its manifest, and the contents of its files after their hashes were checked.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "preprocess.hpp"

namespace fleetnet {

enum class Activation { softmax, sigmoid };

/// What the threshold of a rejection is of.
enum class Certainty { energy, max_logit, probability };

/// Images whose score is below the threshold are rejected.
struct Rejection {
    Certainty score = Certainty::energy;
    double threshold = 0;
};

struct ArtifactFile {
    std::string name;
    std::string sha256;
    std::uint64_t bytes = 0;
};

struct Artifact {
    std::string format;
    std::optional<std::string> precision;
    std::optional<int> batch;
    std::vector<ArtifactFile> files;
};

/// What a host needs of `fleetnet.json`; versions 1, 2.x and 3.x are read, unknown fields of newer
/// minor versions are passed over, and whatever would change the answers is refused.
struct Manifest {
    std::string model;
    Activation activation = Activation::softmax;
    double temperature = 1.0;
    std::optional<Rejection> rejection;
    std::vector<std::string> classes;
    Preprocess preprocess;
    std::vector<Artifact> artifacts;

    /// Throws Error(Code::bundle), `where` naming the file.
    static Manifest parse(const std::string& json, const std::string& where);
};

/// A file's content, which several may hold.
using Content = std::shared_ptr<const std::vector<std::uint8_t>>;

class Bundle {
   public:
    /// A bundle's folder, its `fleetnet.json`, or a lone `.onnx` file that carries the manifest.
    ///
    /// Throws Error(Code::bundle).
    static Bundle load(const std::string& path);

    const std::string& path() const { return path_; }
    const Manifest& manifest() const { return manifest_; }

    /// What the bundle holds; a lone ONNX file is its only artifact.
    const std::vector<Artifact>& artifacts() const {
        return lone_ ? lone_artifact_ : manifest_.artifacts;
    }

    const Artifact* find(const std::string& format, const std::string& precision,
                         std::optional<int> batch = std::nullopt) const;

    /// Contents of an artifact's files, each read once: what was hashed is what is used, even if
    /// the bundle is replaced meanwhile. Throws WrongFile, or another Error(Code::bundle).
    std::vector<Content> contents(const std::string& format, const std::string& precision) const;

    /// Where an artifact's first file is, for messages.
    std::string file_path(const Artifact& artifact) const;

    /// Read the manifest again: whether another bundle has taken this one's place, which this then
    /// is. A lone file is read only once. Throws Error(Code::bundle).
    bool renew();

    /// Let go of a lone file's content, which is large; contents() would read it again.
    void forget() { lone_content_.reset(); }

   private:
    std::string path_;
    std::string text_;  ///< of the manifest
    Manifest manifest_;
    bool lone_ = false;
    std::vector<Artifact> lone_artifact_;
    Content lone_content_;
};

/// Return the name, for people, of an artifact of this format, precision and batch size.
std::string named(const std::string& format, const std::optional<std::string>& precision,
                  std::optional<int> batch = std::nullopt);

}  // namespace fleetnet
