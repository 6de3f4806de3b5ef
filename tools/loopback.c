/*
 * Makes a server that would listen on every interface listen on 127.0.0.1 only, for one that has no such option.
 * Use: LD_PRELOAD=loopback.so SERVER. What asks for a particular address gets it unchanged.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

typedef int (*bind_fn)(int, const struct sockaddr *, socklen_t);

int bind(int fd, const struct sockaddr *address, socklen_t length)
{
    bind_fn real_bind = (bind_fn)dlsym(RTLD_NEXT, "bind");

    if (address->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in four;
        memcpy(&four, address, sizeof four);
        if (four.sin_addr.s_addr == htonl(INADDR_ANY))
            four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return real_bind(fd, (struct sockaddr *)&four, sizeof four);
    }
    if (address->sa_family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 six;
        memcpy(&six, address, sizeof six);
        /* A dual-stack socket: the mapped address is the one that 127.0.0.1 reaches. */
        if (IN6_IS_ADDR_UNSPECIFIED(&six.sin6_addr))
            inet_pton(AF_INET6, "::ffff:127.0.0.1", &six.sin6_addr);
        return real_bind(fd, (struct sockaddr *)&six, sizeof six);
    }
    return real_bind(fd, address, length);
}
