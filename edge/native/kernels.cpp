#include "kernels.hpp"

#include <stdexcept>
#include <string>

namespace sepiola {

const Kernels& kernels(const char* name) {
    std::string wanted(name ? name : ""), known;
    for (const Kernels* found : {avx512_kernels(), avx2_kernels(), scalar_kernels()}) {
        if (!found) continue;
        if (wanted.empty() || wanted == found->name) return *found;
        known += (known.empty() ? "" : ", ") + std::string(found->name);
    }
    throw std::invalid_argument("no kernels are named '" + wanted + "' on this processor; it has " + known);
}

#if !defined(__x86_64__)
const Kernels* avx2_kernels() { return nullptr; }
const Kernels* avx512_kernels() { return nullptr; }
#endif

}  // namespace sepiola
