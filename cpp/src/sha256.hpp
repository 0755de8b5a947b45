// SHA-256 by the system's library, which uses the processor's instructions for it.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

namespace fleetnet {

/// Hashes what it is given piece by piece.
class Sha256 {
   public:
    Sha256();
    ~Sha256();
    Sha256(const Sha256&) = delete;
    Sha256& operator=(const Sha256&) = delete;

    void add(const void* data, std::size_t size);

    /// Return the digest of everything that was added, in 64 lower-case hexadecimal digits.
    ///
    /// Nothing may be added afterwards.
    std::string hex();

   private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace fleetnet
