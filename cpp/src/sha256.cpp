#include "sha256.hpp"

#include <algorithm>
#include <array>
#include <cstdint>

#include "error.hpp"

#if defined(_WIN32)
#include <windows.h>
// windows.h has to be first.
#include <bcrypt.h>
#elif defined(__APPLE__)
#include <CommonCrypto/CommonDigest.h>
#else
#include <nettle/sha2.h>
#endif

namespace fleetnet {
namespace {

using Digest = std::array<std::uint8_t, 32>;

/// What one call of the systems' libraries takes at most, as their lengths have 32 bits.
constexpr std::size_t kPiece = std::size_t{1} << 30;

}  // namespace

#if defined(_WIN32)

struct Sha256::State {
    BCRYPT_ALG_HANDLE algorithm = nullptr;
    BCRYPT_HASH_HANDLE hash = nullptr;

    State() {
        check(BCryptOpenAlgorithmProvider(&algorithm, BCRYPT_SHA256_ALGORITHM, nullptr, 0));
        check(BCryptCreateHash(algorithm, &hash, nullptr, 0, nullptr, 0, 0));
    }
    ~State() {
        if (hash) BCryptDestroyHash(hash);
        if (algorithm) BCryptCloseAlgorithmProvider(algorithm, 0);
    }
    State(const State&) = delete;
    State& operator=(const State&) = delete;

    void add(const std::uint8_t* data, std::size_t size) {
        check(BCryptHashData(hash, const_cast<PUCHAR>(data), static_cast<ULONG>(size), 0));
    }
    Digest digest() {
        Digest found;
        check(BCryptFinishHash(hash, found.data(), static_cast<ULONG>(found.size()), 0));
        return found;
    }

   private:
    static void check(NTSTATUS status) {
        if (status < 0) throw Error(Code::bundle, "this system computes no SHA-256");
    }
};

#elif defined(__APPLE__)

struct Sha256::State {
    CC_SHA256_CTX context;

    State() { CC_SHA256_Init(&context); }
    void add(const std::uint8_t* data, std::size_t size) {
        CC_SHA256_Update(&context, data, static_cast<CC_LONG>(size));
    }
    Digest digest() {
        Digest found;
        CC_SHA256_Final(found.data(), &context);
        return found;
    }
};

#else

struct Sha256::State {
    sha256_ctx context;

    State() { sha256_init(&context); }
    void add(const std::uint8_t* data, std::size_t size) { sha256_update(&context, size, data); }
    Digest digest() {
        Digest found;
        sha256_digest(&context, found.size(), found.data());
        return found;
    }
};

#endif

Sha256::Sha256() : state_(std::make_unique<State>()) {}
Sha256::~Sha256() = default;

void Sha256::add(const void* data, std::size_t size) {
    const auto* next = static_cast<const std::uint8_t*>(data);
    while (size > 0) {
        const std::size_t piece = std::min(size, kPiece);
        state_->add(next, piece);
        next += piece;
        size -= piece;
    }
}

std::string Sha256::hex() {
    static const char digits[] = "0123456789abcdef";
    std::string text;
    for (const std::uint8_t byte : state_->digest()) {
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

}  // namespace fleetnet
