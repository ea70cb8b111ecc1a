import FabricCore
import FabricLinux
import Glibc
import Testing

@Suite(.serialized, .enabled(if: canMakeNetworks, "needs root, ip(8) and /dev/net/tun"))
struct TestBedTests {
    private func namespaces() throws -> [String] {
        try ChildProcess.run(["ip", "netns", "list"]).output.split(separator: "\n").map(String.init)
            .filter { $0.hasPrefix("\(NetworkNamespace.prefix)\(getpid())-bed") }
    }

    /// Whether a datagram gets there, one way. Where it should, it is sent again until it does: the first may wait for
    /// address resolution. A slow machine can only make a cut that fails look right.
    private func arrives(_ bed: TestBed, _ from: String, _ to: String, attempts: Int = 50) throws -> Bool {
        let receiver = try open(bed.node(to)!, port: 7000)
        let sender = try open(bed.node(from)!, port: 7001)
        for _ in 0..<attempts {
            _ = try [1].withUnsafeBytes { try sender.send($0, to: receiver.localEndpoint) }
            var descriptor = pollfd(fd: receiver.descriptor, events: Int16(POLLIN), revents: 0)
            if poll(&descriptor, 1, 100) == 1 { return true }
        }
        return false
    }

    private func isCut(_ bed: TestBed, _ from: String, _ to: String) throws -> Bool {
        try !arrives(bed, from, to, attempts: 3)
    }

    private func open(_ node: TestBed.Node, port: UInt16) throws -> UDPSocket {
        let endpoint = Endpoint(address: node.address, port: port)
        // A process that another test has just forked holds a closed socket, and its port, until it execs.
        for _ in 0..<200 {
            if let socket = try? node.namespace.withThread({ try UDPSocket(bind: endpoint) }) { return socket }
            usleep(10_000)
        }
        return try node.namespace.withThread { try UDPSocket(bind: endpoint) }
    }

    @Test(arguments: [("10.1.0.0/24", "10.2.0.0/24"), ("fd01::/64", "fd02::/64")])
    func `places are cut, one way or both, healed, and nothing stays`(first: String, second: String) throws {
        let bed = try TestBed(label: "bed")
        defer { bed.tearDown() }
        try bed.addPlace("north", IPPrefix(first)!)
        try bed.addPlace("south", IPPrefix(second)!)
        try bed.addNode("a", place: "north")
        try bed.addNode("b", place: "north")
        try bed.addNode("c", place: "south", mtu: 1400)
        #expect(try arrives(bed, "a", "b"))
        #expect(try arrives(bed, "a", "c"))
        try bed.partition("north", "south")
        #expect(try isCut(bed, "a", "c"))
        #expect(try isCut(bed, "c", "a"))
        #expect(try arrives(bed, "a", "b"))
        try bed.heal("north", "south")
        #expect(try arrives(bed, "a", "c"))
        try bed.partition(from: "north", to: "south")
        #expect(try isCut(bed, "a", "c"))
        #expect(try arrives(bed, "c", "a"))
        try bed.healAll()
        try bed.isolate("south")
        #expect(try isCut(bed, "c", "a"))
        try bed.healAll()
        #expect(try arrives(bed, "c", "b"))
        let sleeper = try bed.spawn(on: bed.node("a")!, ["sleep", "1000"], output: .discard)
        #expect(sleeper.poll() == nil)
        #expect(try namespaces().count == 4)
        #expect(bed.tearDown().isEmpty)
        #expect(sleeper.poll() == 128 + SIGTERM)
        #expect(try namespaces().isEmpty)
        #expect(bed.tearDown().isEmpty)
    }

    @Test func `what a dead process left is found and removed, what a living one has is not`() throws {
        let mine = try NetworkNamespace.create("bed-mine")
        defer { try? mine.delete() }
        // The number of a process that has just ended.
        let ended = try ChildProcess(["true"], output: .discard)
        ended.wait()
        let left = "\(NetworkNamespace.prefix)\(ended.processID)-left"
        #expect(try ChildProcess.run(["ip", "netns", "add", left]).status == 0)
        #expect(try NetworkNamespace.leftovers().contains(left))
        #expect(try !NetworkNamespace.leftovers().contains(mine.name))
        #expect(try NetworkNamespace.removeLeftovers().contains(left))
        #expect(try !NetworkNamespace.leftovers().contains(left))
    }

    @Test func `a command that fails says which and why`() throws {
        let error = #expect(throws: NetworkSetupError.self) {
            let namespace = try NetworkNamespace.create("bed-error")
            defer { try? namespace.delete() }
            try namespace.command(["ip", "link", "set", "absent", "up"])
        }
        #expect(error?.message.contains("absent") == true)
    }
}

@Suite struct ChildProcessTests {
    @Test func `input, output and status pass, however large`() throws {
        let text = String(repeating: "0123456789\n", count: 50_000)
        let result = try ChildProcess.run(["sh", "-c", "cat; echo problem >&2; exit 3"], input: text)
        #expect(result.status == 3)
        #expect(result.output == text)
        #expect(result.errors == "problem\n")
    }

    @Test func `a program that is not there is an error`() {
        #expect(throws: SystemError.self) { _ = try ChildProcess.run(["rap-no-such-program"]) }
    }

    @Test func `a program that ignores the request to end is ended`() throws {
        let child = try ChildProcess(["sh", "-c", "trap '' TERM; while :; do sleep 1; done"], output: .discard)
        usleep(200_000)
        #expect(child.terminate(grace: .milliseconds(100)) == 128 + SIGKILL)
    }
}
