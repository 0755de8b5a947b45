#include "bundle/replacement.hpp"

#include <chrono>
#include <thread>

#include "error.hpp"

namespace fleetnet {
namespace {

/// How often reading begins anew.
constexpr int kTries = 5;
/// Whoever replaces a folder leaves nothing in its place for a moment, and whoever writes its files
/// one after another has not come to the manifest yet.
constexpr std::chrono::milliseconds kPause{10};

bool renewed(Bundle& bundle) {
    try {
        if (bundle.renew()) return true;
    } catch (const Error&) {
        // Nothing is there.
    }
    std::this_thread::sleep_for(kPause);
    return false;
}

}  // namespace

void while_replaced(Bundle& bundle, const std::function<void(const Bundle&)>& use) {
    int same = 0;
    for (int tried = 0;; ++tried) {
        try {
            use(bundle);
            return;
        } catch (const WrongFile&) {
            if (tried == kTries) throw;
            same = renewed(bundle) ? 0 : same + 1;
            if (same == 2) throw;
        }
    }
}

}  // namespace fleetnet
