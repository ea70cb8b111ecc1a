internal import ArgumentParser
internal import Glibc

struct SimCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sim", abstract: "Runs scenarios in simulated time (rap-sim).")
    @Argument(parsing: .captureForPassthrough, help: "What rap-sim is given.") var arguments: [String] = []
    func run() throws { try Sibling.become("rap-sim", arguments) }
}

struct LiveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "live", abstract: "Runs scenarios on this machine (rap-live).")
    @Argument(parsing: .captureForPassthrough, help: "What rap-live is given.") var arguments: [String] = []
    func run() throws { try Sibling.become("rap-live", arguments) }
}

struct CaptureCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "capture", abstract: "Records an interface, and judges what a capture holds (rap-live capture).")
    @Argument(parsing: .captureForPassthrough, help: "What “rap-live capture” is given.") var arguments: [String] = []
    func run() throws { try Sibling.become("rap-live", ["capture"] + arguments) }
}

enum Sibling {
    /// The path of a program that stands beside this one.
    static func path(_ name: String) throws -> String {
        var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = buffer.withUnsafeMutableBytes {
            readlink("/proc/self/exe", $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
        }
        guard count > 0 else { throw Failure("/proc/self/exe can't be read: \(String(cString: strerror(errno)))") }
        let own = String(decoding: buffer[..<count], as: UTF8.self)
        return String(own[..<(own.lastIndex(of: "/") ?? own.startIndex)]) + "/" + name
    }

    /// Replaces this process by a sibling program; returns only by throwing.
    static func become(_ name: String, _ arguments: [String]) throws {
        let path = try path(name)
        var pointers = ([path] + arguments).map { strdup($0) } + [nil]
        execv(path, &pointers)
        let code = errno
        throw Failure("\(path) can't be started: \(String(cString: strerror(code)))")
    }
}
