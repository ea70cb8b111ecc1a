public import ArgumentParser
// stdout is a variable of C; nobody here assigns it.
@preconcurrency internal import Foundation

/// What every program of the product does alike with its command line.
extension ParsableCommand {
    /// Parses, runs and ends the process: the body of a program's `main`.
    ///
    /// Status 0: done as asked, or help was. 1: it failed. 2: wrong usage. Others are those of an `ExitCode` that the
    /// command throws, which prints nothing more; 1 instead of 0 when what it printed could not be written. Errors go to
    /// standard error, with the program's name in front.
    public static func runAsProgram() -> Never {
        holdStandardDescriptors()
        do {
            var command = try parseAsRoot()
            try command.run()
            end(0)
        } catch let code as ExitCode {
            end(code.rawValue)
        } catch {
            let code = exitCode(for: error)
            let isUsage = code == .validationFailure
            let name = configuration.commandName ?? "\(self)"
            let text =
                if let error = error as? ValidationError {
                    "\(name): \(error.message)"  // ours; the parser's own come with the usage
                } else if isUsage || code == .success {
                    fullMessage(for: error)
                } else {
                    "\(name): \(error)"
                }
            if code == .success {
                // Help. Whether it could be written is found out at the end, as for all that is printed.
                print(text)
                end(0)
            }
            try? FileHandle.standardError.write(contentsOf: Data((text + "\n").utf8))
            end(isUsage ? 2 : 1)
        }
    }

    /// Ends the process. What was printed and could not be written is a failure, whatever else was done.
    private static func end(_ status: Int32) -> Never {
        if fflush(stdout) != 0 || ferror(stdout) != 0 {
            let name = configuration.commandName ?? "\(self)"
            let text = "\(name): standard output could not be written whole; is the disk full?\n"
            try? FileHandle.standardError.write(contentsOf: Data(text.utf8))
            Foundation.exit(status == 0 ? 1 : status)
        }
        Foundation.exit(status)
    }
}

/// Prints a line for which somebody waits. Where it can't be written the command ends, and `runAsProgram` says why.
public func printAtOnce(_ line: String) throws {
    print(line)
    if fflush(stdout) != 0 { throw ExitCode(1) }
}

/// A standard stream that was closed: the next file or socket would get its number, and what is printed would go there.
private func holdStandardDescriptors() {
    for descriptor: Int32 in 0...2 where fcntl(descriptor, F_GETFD) == -1 { _ = open("/dev/null", O_RDWR) }
}
