/* TBB opens its helper with RTLD_DEEPBIND, which the sanitizers refuse, as their own functions would be
passed over in it. Nothing here depends on that flag, so a program under a sanitizer opens libraries
without it. */
#define _GNU_SOURCE
#include <dlfcn.h>

__attribute__((visibility("default"))) void *dlopen(const char *file, int mode) {
    void *(*next)(const char *, int);
    *(void **)&next = dlsym(RTLD_NEXT, "dlopen");
    return next(file, mode & ~RTLD_DEEPBIND);
}
