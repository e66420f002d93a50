#include "kernels.hpp"

#include <stdexcept>
#include <string>

namespace sepiola {

std::vector<const Kernels*> all_kernels() {
    std::vector<const Kernels*> found;
#if defined(__x86_64__)
    found = {avx512_kernels(), avx2_kernels()};
#elif defined(__aarch64__)
    found = {dotprod_kernels(), neon_kernels()};
#endif
    found.push_back(scalar_kernels());
    std::vector<const Kernels*> there;
    for (const Kernels* one : found)
        if (one) there.push_back(one);
    return there;
}

const Kernels& kernels(const char* name) {
    std::string wanted(name ? name : ""), known;
    for (const Kernels* found : all_kernels()) {
        if (wanted.empty() || wanted == found->name) return *found;
        known += (known.empty() ? "" : ", ") + std::string(found->name);
    }
    throw std::invalid_argument("no kernels are named '" + wanted + "' on this processor; it has " + known);
}

}  // namespace sepiola
